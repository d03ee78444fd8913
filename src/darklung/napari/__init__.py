"""The plugin of napari (``pip install 'darklung[napari]'``): folders of darklung as layers, and a desk to predict and draw.

`napari.yaml` tells napari what is here. Readers and writers need no napari: layers are plain data.
"""
