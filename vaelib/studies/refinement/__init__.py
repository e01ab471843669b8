"""Beyond the paper: how many gradient steps on a test image's posterior buy back what amortisation lost?"""
