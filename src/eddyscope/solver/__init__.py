"""Time stepping of any flow with any closure: schemes, schedule, watch, checkpoints, loop."""
