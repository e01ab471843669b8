"""Do two teachers of disjoint halves of the data make the same images from the same noise?"""
