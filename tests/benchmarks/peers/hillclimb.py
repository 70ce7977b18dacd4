"""The rule of karpathy/autoresearch: ``hillclimb.py MODEL_URL MODEL EVALUATIONS`` keeps what scores better.

The first evaluation is of the seed program as it is. Whatever does not score better than the kept program, or fails, is
discarded, and the next change starts at the kept one. results.tsv has a line for each; best.json what is kept.
"""

import json
import re
import sys
from pathlib import Path

from ask import ask, posted

PROMPT = """Improve the program. Answer in the form <CODE>```python ...```</CODE>.

# Current Program
```python
{program}```
"""

url, model, evaluations = sys.argv[1:]
kept, best = Path("initial.py").read_text(), None
for number in range(int(evaluations)):
    program = kept
    if number:
        messages = [{"role": "user", "content": PROMPT.format(program=kept)}]
        answer = posted(f"{url}/chat/completions", {"model": model, "messages": messages})
        program = re.search("```python\n(.*?)```", answer["choices"][0]["message"]["content"], re.DOTALL)[1]
    score = ask(program).get("score")
    keep = score is not None and (best is None or score > best)
    if keep:
        kept, best = program, score
    status = "keep" if keep else "crash" if score is None else "discard"
    with open("results.tsv", "a") as file:
        file.write(f"{number}\t{score}\t{status}\n")
Path("best.json").write_text(json.dumps({"program": kept, "score": best}))
