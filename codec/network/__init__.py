"""The model in Keras, for training and export."""
