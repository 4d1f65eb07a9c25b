"""The choice of a model's precision: the fastest whose measured perplexity is close enough to float32."""
