"""Networks as NumPyro generative models, one file each; a file is also a template to start from."""
