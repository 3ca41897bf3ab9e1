"""Services over HTTP: how they are asked, what their answers cost and where answers are kept."""
