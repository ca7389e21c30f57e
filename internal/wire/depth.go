package wire

import "bytes"

// TooDeep reports JSON that nests deeper than a limit, or anything with so
// many brackets. It reads the bytes a second time only if there are enough of
// those, and takes no memory.
func TooDeep(b []byte, limit int) bool {
	if limit < 0 || bytes.Count(b, []byte{'{'})+bytes.Count(b, []byte{'['}) <= limit {
		return false
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}
