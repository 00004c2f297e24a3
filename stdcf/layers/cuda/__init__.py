"""The factored convolution on a GPU: Triton kernels that keep the atoms' maps in registers."""
