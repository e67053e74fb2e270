"""Where cards come from: the Hub, timm, a folder."""
