"""miniSEED 2 and 3: headers, chains of contiguous records, samples."""
