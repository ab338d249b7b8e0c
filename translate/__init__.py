"""introshift: unsupervised image translation with a two-latent Soft-IntroVAE."""

__version__ = "0.1.0"
