package lanes

// heldBack are lanes that may have no more of something while so little of it
// is free, in the order in which they were refused.
type heldBack struct {
	list  list // which it is
	lanes []*Lane
	share int // the least at which one of them was refused
}

// list is one that lanes are in while they wait for others. A lane may be in
// several: once it has what it waited for, it is left in them until its name
// comes up.
type list uint8

const (
	ofPool list = iota
	ofSite
	ofSiteSick
	ofEndpoint
	lists
)

// add notes a lane that wants more than its share.
func (h *heldBack) add(l *Lane, share int) {
	if len(h.lanes) == 0 || share < h.share {
		h.share = share
	}
	if !l.in[h.list] {
		l.in[h.list] = true
		h.lanes = append(h.lanes, l)
	}
}

// readyOneLocked gives a turn to the first lane that was held back and may have
// one now that the share is as large as it is. It reports whether there was one.
func (p *Pool) readyOneLocked(h *heldBack, share int) bool {
	if len(h.lanes) == 0 || share <= h.share {
		return false
	}
	waiting, least := h.lanes, h.share
	h.lanes = h.lanes[:0]
	for i, l := range waiting {
		l.in[h.list] = false
		if l.hasTurn || !p.mayHaveTurnLocked(l) {
			continue
		}
		p.giveTurnLocked(l)
		if rest := waiting[i+1:]; len(rest) > 0 {
			h.lanes, h.share = append(h.lanes, rest...), least
		}
		return true
	}
	return false
}
