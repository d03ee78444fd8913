# The names of __init__.py for type checkers; tests/conventions/test_face.py holds the two together.
from darklung.api.cases import insert as insert
from darklung.api.cases import make_case as make_case
from darklung.api.images import correct as correct
from darklung.api.images import make_mouse as make_mouse
from darklung.api.images import read_image as read_image
from darklung.api.images import reconstruct as reconstruct
from darklung.api.images import retrieve as retrieve
from darklung.api.images import simulate as simulate
from darklung.api.learning import evaluate as evaluate
from darklung.api.learning import predict as predict
from darklung.api.learning import train as train
from darklung.core.channel import Channel as Channel
from darklung.core.checks import DarklungError as DarklungError
from darklung.core.types import Image as Image
from darklung.core.types import Insertion as Insertion
from darklung.core.types import Phantom as Phantom
from darklung.core.types import Projections as Projections
from darklung.core.types import Scan as Scan
from darklung.io.case import LabelledCase as LabelledCase

__version__: str
__all__: list[str]
