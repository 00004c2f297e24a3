"""What CUDA's allocator and libraries take."""
