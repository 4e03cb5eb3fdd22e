"""Records: the results of matching for detections and ground truths, and their counts."""
