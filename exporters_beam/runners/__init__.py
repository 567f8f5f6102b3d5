"""Where an export runs: on this machine, on Flink, on Dataflow."""
