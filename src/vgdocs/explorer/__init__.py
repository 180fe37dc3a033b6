"""The page Explore: every setting of a deep network that it offers, measured once, recorded, and told in words.

`model` measures a setting and predicts it, `snippet` writes it down as plain PyTorch, `grid` records and reads the
page's measurements, `cli` is `vgdocs explore`. The door is `model.Setting` with `model.measure` and `model.predict`.
"""
