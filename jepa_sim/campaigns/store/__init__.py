"""The store of a campaign: labelled arrays on disk, written block by block, whole or not at all.

    RUN/manifest.json    what the run is, and where it came from
    RUN/data.zarr        one Zarr v3 group, which xarray opens anywhere
    RUN/done/0.2.1.json  the mark of a block that is whole
    RUN/lock             who is writing

A block is one chunk of every array along the axes of the lanes, and all of the axes inside a lane:
one file for each array, which no other block shares. Its mark is made when all of them are on disk,
with a checksum of their values; a block without one is written again, whatever lies there. The
manifest says what all else must be. Nothing here needs JAX.
"""

from jepa_sim.campaigns.store.exporting import check_room as check_room
from jepa_sim.campaigns.store.exporting import export as export
from jepa_sim.campaigns.store.exporting import write_netcdf as write_netcdf
from jepa_sim.campaigns.store.lock import lock as lock
from jepa_sim.campaigns.store.manifest import differences as differences
from jepa_sim.campaigns.store.reading import open_run as open_run
from jepa_sim.campaigns.store.status import status as status
from jepa_sim.campaigns.store.store import Block as Block
from jepa_sim.campaigns.store.store import Store as Store
from jepa_sim.campaigns.store.store import create as create
from jepa_sim.campaigns.store.store import open_store as open_store
from jepa_sim.campaigns.store.template import Variables as Variables
from jepa_sim.campaigns.store.verifying import mend as mend
from jepa_sim.campaigns.store.verifying import verify as verify
