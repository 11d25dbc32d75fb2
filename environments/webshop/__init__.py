"""The webshop environment: WebShop's actions, pages and reward, over a catalogue of our own."""
