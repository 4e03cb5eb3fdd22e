"""Records: what is left of detections and ground truths once they are matched, and what is counted of them."""
