import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for toy_study and toy_stages, which tests and worker processes share
