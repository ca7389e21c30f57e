package sqlite

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestValuesComeBackAsTheyWere(t *testing.T) {
	long := strings.Repeat("ä\x00b", 100_000)
	for _, c := range []struct {
		name string
		in   any
		kind string
		i    int64
		text string
		blob []byte
	}{
		{"zero", 0, "integer", 0, "0", []byte("0")},
		{"an int", -7, "integer", -7, "-7", []byte("-7")},
		{"the largest integer", int64(math.MaxInt64), "integer", math.MaxInt64, "9223372036854775807", []byte("9223372036854775807")},
		{"the smallest integer", int64(math.MinInt64), "integer", math.MinInt64, "-9223372036854775808", []byte("-9223372036854775808")},
		{"text", "grüße", "text", 0, "grüße", []byte("grüße")},
		{"text that is a number", "12", "text", 12, "12", []byte("12")},
		{"empty text", "", "text", 0, "", []byte{}},
		{"long text", long, "text", 0, long, []byte(long)},
		{"a blob", []byte{0, 1, 255}, "blob", 0, "\x00\x01\xff", []byte{0, 1, 255}},
		{"an empty blob", []byte{}, "blob", 0, "", []byte{}},
		{"a long blob", []byte(long), "blob", 0, long, []byte(long)},
		{"no blob", []byte(nil), "null", 0, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := openTest(t, tempFile(t), nil)
			exec(t, db, "CREATE TABLE t (x)")
			if err := prepare(t, db, "INSERT INTO t VALUES (?1)", c.in).Run(); err != nil {
				t.Fatal(err)
			}
			s := prepare(t, db, "SELECT typeof(x), x, x, x, x IS ?1 FROM t", c.in) // a column for each way to read: reading converts
			step(t, s)
			if got := s.Text(0); got != c.kind {
				t.Errorf("it is %s, want %s", got, c.kind)
			}
			if got := s.Int(1); got != c.i {
				t.Errorf("Int: %d, want %d", got, c.i)
			}
			if got := s.Text(2); got != c.text {
				t.Errorf("Text: %.20q, want %.20q", got, c.text)
			}
			if got := s.Blob(3); !bytes.Equal(got, c.blob) || (got == nil) != (c.blob == nil) {
				t.Errorf("Blob: %.20q, want %.20q", got, c.blob)
			}
			if got := s.Peek(3); !bytes.Equal(got, c.blob) {
				t.Errorf("Peek: %.20q, want %.20q", got, c.blob)
			}
			if s.Int(4) != 1 {
				t.Error("SQLite finds it different")
			}
			last(t, s)
		})
	}
}

// What Blob and Text return must not change with the statement.
func TestCopiesOutliveTheRow(t *testing.T) {
	db := openTest(t, tempFile(t), nil)
	s := prepare(t, db, "SELECT ?1, ?2", []byte("first"), "first")
	step(t, s)
	blob, text := s.Blob(0), s.Text(1)
	s.Reset()
	if err := s.Bind([]byte("other"), "other"); err != nil {
		t.Fatal(err)
	}
	step(t, s)
	if string(blob) != "first" || text != "first" {
		t.Errorf("%q, %q", blob, text)
	}
	s.Reset()
}

func TestStatementsAreUsedAgain(t *testing.T) {
	db := openTest(t, tempFile(t), nil)
	exec(t, db, "CREATE TABLE t (i INTEGER PRIMARY KEY, a, b)")
	const sql = "INSERT INTO t (a, b) VALUES (?1, ?2)"
	first := prepare(t, db, sql)
	// Values that grow and shrink go through the same memory.
	sizes := []int{10, 0, 3 * keepBuffer, 5, keepBuffer, 100}
	for i, n := range sizes {
		s := prepare(t, db, sql, bytes.Repeat([]byte{byte(i)}, n), strings.Repeat("x", n))
		if s != first {
			t.Fatal("the statement was prepared anew")
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		if db.Changes() != 1 || db.LastInsertRowID() != int64(i+1) {
			t.Errorf("row %d: %d changes, rowid %d", i, db.Changes(), db.LastInsertRowID())
		}
	}
	for _, b := range first.bufs {
		if b.cap > keepBuffer {
			t.Errorf("%d bytes are kept for a parameter of 100", b.cap)
		}
	}
	// Parameters keep their values.
	if err := first.Run(); err != nil {
		t.Fatal(err)
	}
	sizes = append(sizes, sizes[len(sizes)-1])
	s := prepare(t, db, "SELECT a, b FROM t ORDER BY i")
	for i, n := range sizes {
		step(t, s)
		if a, b := s.Peek(0), s.Text(1); len(a) != n || len(b) != n || n > 0 && a[n-1] != byte(min(i, len(sizes)-2)) {
			t.Errorf("row %d: %d and %d bytes, want %d", i, len(a), len(b), n)
		}
	}
	last(t, s)
	step(t, s) // from the beginning
	s.Reset()
	step(t, s)
	s.Reset()
}

func TestBindingErrors(t *testing.T) {
	db := openTest(t, tempFile(t), nil)
	s := prepare(t, db, "SELECT ?1", 1)
	step(t, s)
	for name, err := range map[string]error{"int": s.BindInt(0, 2), "text": s.BindText(0, "a"), "blob": s.BindBlob(0, []byte("a")), "NULL": s.BindBlob(0, nil)} {
		if !HasCode(err, Misuse) {
			t.Errorf("%s bound to a statement that has a row: %v", name, err)
		}
	}
	s.Reset()
	if err := s.BindInt(1, 2); err == nil {
		t.Error("bound a parameter that is not there")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("bound a value of unknown type")
			}
		}()
		_ = s.Bind(1.5)
	}()
}
