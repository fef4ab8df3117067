"""Local model: all-MiniLM-L6-v2 on onnxruntime or numpy, without torch and without a model hub."""
