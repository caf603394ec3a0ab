"""One harness for generative models of images: data, training, evaluation, records and reports."""
