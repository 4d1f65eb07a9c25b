"""The native step: C++ code, compiled on this machine, for the forward pass of a GPT-2 or Llama model on the CPU."""
