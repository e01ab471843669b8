"""Beyond the paper: does DMaaPx beat cheap regularisers, each tuned by validation images with the same budget of runs?"""
