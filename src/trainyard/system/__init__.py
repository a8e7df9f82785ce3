"""The process and the machine: files, signals, progress, the environment, TensorFlow's start-up, the XLA cache."""
