"""Time stepping of any flow with any closure: steppers, schedule, guard, checkpoints, loop."""
