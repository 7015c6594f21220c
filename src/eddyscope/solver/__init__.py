"""Time stepping of any flow with any closure: schemes, schedule, guard, checkpoints, loop."""
