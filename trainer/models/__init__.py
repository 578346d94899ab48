"""One file an architecture, one public class in each; they know the layers and nothing else."""
