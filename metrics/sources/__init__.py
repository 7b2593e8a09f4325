"""Where pictures to be measured come from: folders, archives, arrays, data sets, generators and run folders."""
