# The one vocabulary of number types: a loop over floats is written once, over
# `real`, and compiled for float32 and float64.
ctypedef fused real:
    float
    double
