"""The command line, and builds over many photos and many processes; the only room that knows Dask.

`cli` and `cli_*` are the commands of `hqdata`. `build_dataset` is a build on one screen: `score_phase`, then
`hqdata.ranking`, then `pack_phase`, whose results `ledger` remembers. `train_generator` starts a training of `gan`;
`judge_*` and `bench_restoration` measure the two networks.
"""
