"""The stage rows of `make bench-scale`: what each stage of an audit costs, beside the libraries that do the same."""
