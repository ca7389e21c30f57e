package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxChannelBytes bounds a channel's full name.
const maxChannelBytes = 1024

// CheckChannel says what is wrong with a channel's full name, if anything.
func CheckChannel(channel string) error {
	switch {
	case channel == "":
		return errors.New("it is empty")
	case len(channel) > maxChannelBytes:
		return fmt.Errorf("%d bytes, at most %d", len(channel), maxChannelBytes)
	case !utf8.ValidString(channel):
		return errors.New("it is not UTF-8")
	case strings.IndexFunc(channel, isControl) >= 0:
		return fmt.Errorf("%q has control characters", channel)
	}
	return nil
}

// isControl reports C0 and C1 control characters and the line and paragraph
// separators, which break log lines.
func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
}
