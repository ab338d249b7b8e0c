"""The equations: Soft-IntroVAE with one latent and with two, and the energy of an image."""
