"""The command line, and builds over many photos and many processes; the only room that knows Dask.

- Commands: `cli`, `cli_*`; each imports what it needs when it runs.
- A build on one screen: `build_dataset`, with the settings of `config` (ready ones in `configs`), boiled down by `job`.
  Its phases: `preflight`, `score_phase`, `select_phase`, `pack_phase`; the end: `tables`, `report`, `stats`.
- What is known: `ledger` on disk, `knowledge` in the driver (`photo_index`, `growing`, `rows`, `face_rows`,
  `wanted_faces`), `threshold` for the cache. The run folder: `run_folder`, `run_lock`, `provenance`, `room_needed`.
- Where it runs: `clusters`. A function over many lists, whatever becomes of the machines: `dask_map` with `window`,
  `backlog`, `flight`, `stragglers`, `breaker`, `patience`, `stopping`.
- On a worker: `worker_task` around `stages`, `overlap` beside a GPU, `costs`.
- Is a machine fit: `doctor` and `preflight` ask (`ask_workers`) for `machine_report`, `scheduler_report`,
  `device_report`, `canary`, `scratch`, `shared_folder`, and judge by `fitness`, `needs`, `hardware` in
  `cluster_report`; `crew` is what a run remembers of them.
- Before, during, after: `plan` (`pilot`, `plan_estimates`, `redo_reasons`, `spending`), `progress`, `status`,
  `dask_report`, `explain`, `retry`, `reselect` with `where`, `inspect_run`, `known_run`, `demo_truth`; words for them
  in `durations` and `naming`.
- Others on a cluster: `score_generator` with `score_parts`, `verify_on_cluster`.
- The networks: `judge_*` and `bench_restoration` measure the two of a build, `list_weights` names them;
  `train_generator` starts a training of `gan`.
"""
