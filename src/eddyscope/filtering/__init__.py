"""From DNS to LES resolution: filters, coarse grids, the exact subgrid term."""
