"""Language models: calls through LiteLLM."""
