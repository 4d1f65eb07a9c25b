"""The step in C++: compiled on this machine, one call for a whole forward pass of a GPT-2 or Llama model on the CPU."""
