"""From a card to a loaded network: download, weights, preprocessing."""
