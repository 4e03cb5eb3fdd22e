"""What is compared: boxes, masks, keypoints, oriented boxes, and how similar two of them are."""
