package ui

import (
	"fmt"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
)

// Count is a number as it is read: 12,345.
func Count[T int | int64 | uint64](n T) string { return humanize.Comma(int64(n)) }

// Plural is a count with its noun: "1 event", "2 events".
func Plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return Count(n) + " " + noun
}

// Millis is a duration in milliseconds, with two decimals.
func Millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 2, 64)
}

// Span is a duration as it is said: 340ms, 2.1s, 4m10s, 3h20m, 12d.
func Span(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", max(d.Milliseconds(), 1))
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// Rate is how many a second: "12,300/s".
func Rate(n int, d time.Duration) string {
	if d <= 0 {
		return "–"
	}
	perSecond := float64(n) / d.Seconds()
	if perSecond < 10 {
		return strconv.FormatFloat(perSecond, 'f', 1, 64) + "/s"
	}
	return humanize.Comma(int64(perSecond)) + "/s"
}
