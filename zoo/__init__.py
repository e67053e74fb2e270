"""Who is there: models of the Hub, of timm and of folders, in a local catalogue."""
