"""What a model is shown: samples as tensors, as its own library prepares them."""
