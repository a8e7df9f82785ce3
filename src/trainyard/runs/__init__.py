"""One run from start to end: its folder, artifacts and tags; resuming, finding and uploading runs."""
