"""The layers and models that STDCF is compared with."""
