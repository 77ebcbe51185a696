"""A small kit in plain torch that trains networks of k-input tables and hardens them to integers.

- ``kernels``: the inner loops (numba)
- ``layers``, ``convolution``: encoder, table layers, trees of tables slid over images, OR pooling, group sum
- ``network``: a stack of layers and how it hardens
- ``loop``: the training loop, keeping the epoch that validates best
- ``hardened``: the hardened network, in plain numpy
- ``onnx_file``: a hardened network to ONNX and back
"""
