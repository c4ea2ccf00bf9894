"""A run as one file, for other programs."""

from pathlib import Path

import xarray as xr


def export(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """Write NetCDF (all of it), or Parquet: a row for each trajectory, feature and fraction.

    What is saved over time is not in the Parquet table. Both hold the result in memory a part at a
    time where dask is installed, and whole where not.
    """
    if suffix == ".nc":
        dataset.to_netcdf(path, engine="h5netcdf")
        return
    chosen = [name for name, value in dataset.items() if "time" not in value.dims]
    frame = dataset[chosen].drop_vars("time_fraction", errors="ignore")
    frame.to_dataframe().reset_index().to_parquet(path)
