"""A lab's HTML, as nbconvert leaves it, made into a page of this site."""

from vgdocs.pages import labs

CELLS = """<style>.jp-a {}</style><script>init()</script><div class="jupyter-wrapper">
<div class="jp-Cell jp-MarkdownCell"><div class="jp-InputPrompt"></div><div class="jp-MarkdownOutput">
<h2 id="a">A<a class="anchor-link" href="#a">¶</a></h2><p>It's <em>x</em> &lt; 1.</p></div></div>
<div class="jp-Cell jp-CodeCell"><div class="jp-Cell jp-CodeCell">
<div class="highlight-ipynb hl-python"><pre><span></span>
<span class="kn">import</span> torch</pre></div><div class="clipboard">import torch</div>
<div class="jp-OutputArea-output"><pre>0.5</pre></div></div></div></div>"""


def test_only_text_code_and_output_are_left():
    html = labs.slim(CELLS)
    for left_out in ("style", "script", "Prompt", "jp-", "clipboard"):
        assert left_out not in html
    assert '<a class="headerlink" href="#a">' in html
    assert "<p>It's <em>x</em> &lt; 1.</p>" in html
    assert html.count("torch") == 1
    assert (
        '<div class="highlight"><pre><code><span></span>\n<span class="kn">import</span> torch</code></pre></div>'
        in html
    )
    assert '<div class="vg-output"><pre>0.5</pre></div>' in html


def test_a_page_without_cells_stays_as_it_is():
    assert labs.slim("<p>The lab fails.</p>") == "<p>The lab fails.</p>"


def test_a_description_is_whole_sentences_of_the_first_paragraph():
    html = f"<h1>Lab</h1><p>What <em>is</em> lost?\nYou  measure it. {'And so on, ' * 20}.</p><p>More.</p>"
    assert labs.describe(html) == "What is lost? You measure it."
    assert labs.describe("<h1>Lab</h1>") == ""
