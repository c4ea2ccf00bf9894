"""The store of a campaign: labelled arrays on disk, written in blocks.

A block is on disk completely, or it counts as missing.

    RUN/manifest.json    the configuration of the run, and where it came from
    RUN/data.zarr        one Zarr v3 group, which xarray opens anywhere
    RUN/done/0.2.1.json  the mark of a complete block
    RUN/lock             locked by the process that writes

A block is one chunk of every array: a part of the axes of the lanes, and all of the axes inside a
lane. So it has one file in each array, which no other block shares. Its mark is written when all of
these files are on disk, and has a checksum of their values. A block without a mark is written
again, whatever its files hold. The manifest describes all other arrays. Nothing here needs JAX.
"""

from jepa_sim.campaigns.store.contents import keeps_empty_chunks as keeps_empty_chunks
from jepa_sim.campaigns.store.exporting import check_room as check_room
from jepa_sim.campaigns.store.exporting import export as export
from jepa_sim.campaigns.store.exporting import write_netcdf as write_netcdf
from jepa_sim.campaigns.store.lock import lock as lock
from jepa_sim.campaigns.store.manifest import differences as differences
from jepa_sim.campaigns.store.reading import open_run as open_run
from jepa_sim.campaigns.store.status import status as status
from jepa_sim.campaigns.store.status import status_of_file as status_of_file
from jepa_sim.campaigns.store.store import Block as Block
from jepa_sim.campaigns.store.store import Store as Store
from jepa_sim.campaigns.store.store import create as create
from jepa_sim.campaigns.store.store import open_store as open_store
from jepa_sim.campaigns.store.template import Variables as Variables
from jepa_sim.campaigns.store.verifying import mend as mend
from jepa_sim.campaigns.store.verifying import verify as verify
