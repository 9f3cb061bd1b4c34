"""Files of other tools: COCO, VOC, YOLO, CVAT, Label Studio, tables. One module a format.

Begin at `annotations.py` (pictures with boxes) or `tables.py`.
"""
